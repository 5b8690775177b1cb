"""Engines: what turns a request into events. Adds the model SDKs to what ``core`` may import.

The port is in ``core.engines.engine``. An engine never executes a tool itself: it asks
``EngineRequest.tools``, the one door. Importing this package imports no SDK.
"""
