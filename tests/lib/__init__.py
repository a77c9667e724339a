"""What the integration tests stand on: private servers, Drover's own programs, patience."""
