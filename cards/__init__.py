"""Dataset cards and publishing: views of a finished run directory. Imports nothing above `curation`."""
