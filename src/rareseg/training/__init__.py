"""Training: the plan, the losses and the loop."""
