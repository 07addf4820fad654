"""Interactive work: an engine is a loaded model that answers now, and streams while the page waits.

`client` is what the web process holds; `worker` is the process at the other end of its pipe, which hosts the engines.
"""
