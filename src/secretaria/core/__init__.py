"""Pure decisions: prices, periods, limits, money. Standard library and msgspec only."""
