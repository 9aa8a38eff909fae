"""A folder of pictures to a data set in which every file is accounted for."""
