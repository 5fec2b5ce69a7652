"""A file per study: how what it found is drawn. Its name is the study's, and its VIEWS are what `report.views` looks for."""
