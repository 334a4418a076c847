"""`python -m secretaria` is the `secretaria` command: how the supervisor starts its children."""

from secretaria.cli import main

if __name__ == "__main__":
    main()
