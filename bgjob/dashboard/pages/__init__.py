"""The pages: each reads, and makes what its template tells."""
