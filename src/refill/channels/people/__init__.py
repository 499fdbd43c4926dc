"""What the pages for people share: Django's settings, addresses, base templates, sign-in and static files."""
