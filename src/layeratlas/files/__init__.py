"""What lies on disk, and how it is named, written, checked and found again."""
