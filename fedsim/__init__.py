"""fedsim: federated simulation of on-device recommendation."""
