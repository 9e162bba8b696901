"""What a model *is*: computation graphs and their importers. Nothing lives here yet."""
