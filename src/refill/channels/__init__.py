"""The doors: each only translates and asks the spine."""
