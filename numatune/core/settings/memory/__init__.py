"""What memory costs a request: huge pages, merged pages, swap."""
