"""lm-eval's tasks as Inspect tasks, with lm-eval's own documents, few-shot prompts, filters and metrics."""
