"""More pictures than one machine holds: plans with URLs, and workers of Ray. Nothing heavy is imported here."""
