//! Analytics: mileage, consumption and revenue by time and dimension.
