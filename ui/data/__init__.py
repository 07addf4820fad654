"""The Data tab's parts: pure HTML (view, cells, grid, row, told) and its panels over one Desk."""
