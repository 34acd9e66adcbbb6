"""Songs by what a model hears in them: neighbours, outliers and duplicates."""
