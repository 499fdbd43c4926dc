"""`python -m refill`, the same as `refill`."""

from refill.cli import main

if __name__ == "__main__":
    main()
