"""The Hub, as the one who asks may use it, and what of it is on this machine: see `hub.py`."""
