"""The longer commands of `copsd-train`, one a file."""
