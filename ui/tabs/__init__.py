"""One file a tab; each has `build(lab, page)`, called inside its own `gr.Tab`."""
