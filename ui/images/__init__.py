"""The Images tab's panels and its HTML."""
