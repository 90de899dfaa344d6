"""The method `lemaire2022` against two other implementations, each in its own process."""
