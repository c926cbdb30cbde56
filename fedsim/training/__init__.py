"""Training in the cloud on history."""
