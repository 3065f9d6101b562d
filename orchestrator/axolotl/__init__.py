"""From a spec to the Axolotl config of a launch, without importing Axolotl."""
