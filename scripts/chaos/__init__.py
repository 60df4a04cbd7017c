"""`make chaos`: hurt a cluster at random under load, and check what it promised."""
