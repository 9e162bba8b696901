"""Bundles become answers here: a Session runs the model, a Predictor validates and dresses what it
says, `recommend` ranks deployments, and `create_app` offers both over REST.

Nothing below this folder imports training, predictors or a training framework.
"""
