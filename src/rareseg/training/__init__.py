"""How to learn: the plan, the losses and the loop."""
