"""The Hub tab: what is drawn, and what its presses do."""
