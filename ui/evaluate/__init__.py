"""The Evaluate tab: its panels over one Desk, and their HTML (told, plots, board), which is pure."""
