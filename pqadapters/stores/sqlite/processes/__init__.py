"""Other processes, and forks of this one: who lives, what the dead had, what others have committed."""
