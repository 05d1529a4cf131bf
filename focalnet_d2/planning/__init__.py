"""How much memory a training takes, from shapes alone, and which settings fit into a given amount."""
