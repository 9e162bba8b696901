"""Bundles become answers here: a Session runs the model, a Predictor validates and dresses what it
says, `recommend` ranks deployments, and `create_app` offers both over REST, and predictions over
the Open Inference Protocol as well.

Nothing below this folder imports training, predictors or a training framework.
"""
