"""A dataset opened: pages, figures, search, SQL, quality and reshaping, all over Parquet.

What a stranger gives — a file, a query — is worked on in a process of its own with little memory and no secrets
(`child`); pages and figures of what has been checked are read here through one DuckDB with a small memory.
"""
