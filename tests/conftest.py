"""Nothing global but this: tests never reach a network and never see the keys of the person who runs them."""

import os

os.environ["HF_HUB_OFFLINE"] = "0"  # the real client talks to servers of our own on 127.0.0.1
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
for name in ("HF_TOKEN", "FACTORY_API_KEY", "OPENAI_API_KEY"):
    os.environ.pop(name, None)
