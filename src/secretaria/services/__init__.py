"""Order the steps inside one transaction."""
