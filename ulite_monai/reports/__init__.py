"""What is known of masks: metrics against a reference, volumes, pictures."""
