"""Nothing is timed in a test: a busy machine must not make a property fail."""

from hypothesis import settings

settings.register_profile("untimed", settings(), deadline=None)  # in CI, the parent draws the same examples each time
settings.load_profile("untimed")
