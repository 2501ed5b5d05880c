"""What is read of a host: the list, the script made from it, a tree read by it, the stream."""
