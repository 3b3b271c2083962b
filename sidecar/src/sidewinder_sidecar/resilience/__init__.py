"""State machines that keep one failure from becoming many: deadlines, retries, budgets. Time is always an argument."""
