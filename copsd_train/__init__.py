"""Reference trainer for constitutional on-policy self-distillation and its neighbours."""
