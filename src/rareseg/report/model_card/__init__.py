"""The model card: records of a run in, one page of Markdown out.

The headings are those of Mitchell et al., "Model Cards for Model Reporting" (2019), section 4. A
card is made from records alone, so that equal records give an equal card; it names no case, no
group and no folder, since it is handed on with the model.
"""

from rareseg.report.model_card.card_content import CardContent as CardContent
from rareseg.report.model_card.card_content import CardFigures as CardFigures
from rareseg.report.model_card.card_page import model_card as model_card
