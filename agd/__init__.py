"""AGD (Aggregate Genomic Data): reads and alignments as a table of columns and chunks."""
