"""Pictures from saved results."""
