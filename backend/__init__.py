"""Everything that works without a page: engines, recipes, targets and the Lab in front of them."""
