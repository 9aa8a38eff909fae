"""Forecast: what a run will come to, told before it is made and checked at its end."""
