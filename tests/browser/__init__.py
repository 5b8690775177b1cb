"""The page in a real Chromium, against a real IT0 with a fake model provider.

Every test here is slow. The browser is the system's own (``IT0_TEST_BROWSER`` names another);
it cannot reach anything but this machine. ``IT0_TEST_SCREENSHOTS`` names a directory for what
the tests take pictures of.
"""
