"""The discriminator as a vision model, beside the methods it has to beat: probes, semi-supervision, anomalies."""
