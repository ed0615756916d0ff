"""The suite `collapse`: a model against a reference, on one prompt set, from one set of rollouts."""
